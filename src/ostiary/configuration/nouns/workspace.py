"""Webhooks and properties of a project in files."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

from ostiary.configuration.nouns.file_noun import Fields, FileNoun, Keys, Made
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.inputs import Input, Text
from ostiary.directory.models import Property, Webhook
from ostiary.directory.webhooks import webhooks
from ostiary.directory.workspace import properties
from ostiary.identity.secret import Secret


class WebhookFiles(FileNoun[Webhook, None]):
    """Their addresses are secrets: whoever has one can often post to it."""

    kind, section, input = "webhook", "webhooks", webhooks.WebhookInput
    hidden = frozenset({"project_id", "key"})
    secrets = ("url",)
    unseen = "https://example.com/"
    defaults: ClassVar[Mapping[str, object]] = {"active": True}
    #: As in console and API.
    least = Role.EDITOR
    revokes = alters_calls = False

    def rows(self, project_id: int) -> Iterable[Webhook]:
        return Webhook.objects.filter(project_id=project_id).order_by("pk")

    def shown(self, row: Webhook, keys: Keys) -> Fields:
        return self.columns(row)

    def holds(self, row: Webhook, name: str, secret: Secret) -> bool:
        return row.url == secret.reveal()

    def draft(self, project_id: int, parent: None) -> Webhook:
        return Webhook(project_id=project_id)

    def check(self, by: Actor, row: Webhook, fields: Fields) -> None:
        webhooks.check(row, webhooks.WebhookInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = webhooks.WebhookInput.of(project_id=owner_id, **fields)
        made, secret = webhooks.create(by=by, given=given)
        return Made(row_id=made.pk, secret=secret)

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        webhooks.change(by=by, webhook_id=row_id, given=webhooks.WebhookInput.of(**fields))
        return Made(row_id=row_id)

    def delete(self, by: Actor, row_id: int) -> int:
        webhooks.delete(by=by, webhook_id=row_id)
        return 0


class PropertyInFiles(Input):
    """Input for a property in files, where its name is its key."""

    required: ClassVar[tuple[str, ...]] = ("value",)

    value: Annotated[str, Text(maximum=1024, required=False, lines=True)] = ""
    name: str = ""


class PropertyFiles(FileNoun[Property, None]):
    """Their values may be secrets: then files refer to them, as to others."""

    kind, section, input = "property", "properties", PropertyInFiles
    hidden = frozenset({"name"})
    secrets = ("value",)
    secrets_in_files = frozenset({"value"})
    movable = False
    revokes = alters_calls = False

    def rows(self, project_id: int) -> Iterable[Property]:
        return Property.objects.filter(project_id=project_id).order_by("pk")

    def key(self, row: Property) -> str:
        return row.name

    def is_keyed(self, row: Property) -> bool:
        return True

    def own(self, key: str) -> Fields:
        return {"name": key}

    def shown(self, row: Property, keys: Keys) -> Fields:
        return {"value": row.value}

    def has_secret(self, row: Property, name: str) -> bool:
        """Whether one is a secret, only its owner knows."""
        return False

    def holds(self, row: Property, name: str, secret: Secret) -> bool:
        return row.value == secret.reveal()

    def draft(self, project_id: int, parent: None) -> Property:
        return Property(project_id=project_id)

    def check(self, by: Actor, row: Property, fields: Fields) -> None:
        PropertyInFiles.of(**fields)

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        made = self._write(by, owner_id, str(fields["name"]), fields["value"])
        return Made(row_id=made.pk)

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        row = Property.objects.get(pk=row_id)
        if row.project_id is not None and "value" in fields:
            self._write(by, row.project_id, row.name, fields["value"])
        return Made(row_id=row_id)

    def _write(self, by: Actor, project_id: int, name: str, value: object) -> Property:
        properties.write(by=by, project_id=project_id, values={name: value})
        return Property.objects.get(project_id=project_id, name=name)

    def delete(self, by: Actor, row_id: int) -> int:
        row = Property.objects.get(pk=row_id)
        properties.write(by=by, project_id=row.project_id, values={row.name: None})
        return 0


WEBHOOKS, PROPERTIES = WebhookFiles(), PropertyFiles()
