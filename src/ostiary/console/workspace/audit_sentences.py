"""What happened, as a sentence: who did what to which object. The machine names stay in the details."""

from collections.abc import Mapping
from dataclasses import dataclass

from ostiary.directory.models import AuditEvent

#: What pages call the kinds of objects.
NOUNS: Mapping[str, str] = {
    "client": "client",
    "profile": "access profile",
    "credential": "credential",
    "collection": "API collection",
    "endpoint": "endpoint",
    "connection": "connection",
    "policy": "policy",
    "address_list": "address list",
    "recipe": "recipe",
    "project": "project",
    "folder": "folder",
    "member": "member",
    "token": "management token",
    "webhook": "webhook",
    "settings": "settings",
    "property": "properties",
    "signing_key": "signing key",
    "configuration": "configuration",
}
#: `{}` is the object, with its noun.
_VERBS: Mapping[str, str] = {
    "create": "created {}",
    "change": "changed {}",
    "delete": "deleted {}",
    "activate": "activated {}",
    "deactivate": "deactivated {}",
    "enable": "activated {}",
    "disable": "deactivated {}",
    "restore": "restored {}",
    "revoke": "revoked {}",
    "start": "started {}",
    "stop": "stopped {}",
    "rotate": "rotated {}",
}
#: Where the verb alone does not say it.
_ACTIONS: Mapping[str, str] = {
    "client.defaults": "changed the defaults of {}",
    "client.logo": "changed the logo of {}",
    "profile.refresh": "issued a new credential to {}",
    "profile.reset_limits": "reset counters of {}",
    "profile.raise_limits": "raised limits of {}",
    "profile.lower_limits": "ended the raised limits of {}",
    "profile.ambiguous": "found that tokens of {} match another one too",
    "credential.cut_off": "revoked a credential of {}",
    "credential.expiry": "changed the expiry of a credential of {}",
    "handover.create": "made a hand-over link for {}",
    "handover.open": "opened the hand-over link of {}",
    "handover.withdraw": "withdrew the hand-over link of {}",
    "collection.import": "imported a document into {}",
    "collection.dismiss_import_report": "dismissed the import report of {}",
    "collection.purge_cache": "purged the cache of {}",
    "endpoint.try": "tried {}",
    "webhook.rotate_secret": "rotated the secret of {}",
    "webhook.test": "sent a test to {}",
    "webhook.redeliver": "sent an event again to {}",
    "token.rotate": "rotated the secret of {}",
    "project.quotas": "changed the quotas of {}",
    "properties.change": "changed {}",
    "settings.single_sign_on": "changed single sign-on in {}",
    "signing_key.rotate": "rotated {}",
    "configuration.apply": "applied {}",
    "member.sign_in": "signed in as {}",
    "member.sign_in_refused": "was refused a sign-in as {}",
    "member.password": "set the password of {}",
    "member.session_end": "ended a session of {}",
    "member.end_sessions": "ended all sessions of {}",
    "member.link": "made a sign-in link for {}",
    "member.role": "changed a role of {}",
    "member.second_factor_add": "added a second factor to {}",
    "member.second_factor_remove": "removed a second factor of {}",
    "member.second_factor_rename": "renamed a second factor of {}",
    "member.second_factor_reset": "reset the second factors of {}",
    "member.recovery_codes": "made new recovery codes for {}",
    "member.single_sign_on_link": "linked single sign-on to {}",
    "member.single_sign_on_unlink": "unlinked single sign-on from {}",
}
#: Nouns of which there is one: the name says nothing more.
_ONE = frozenset({"settings", "property", "configuration"})
#: The most fields that a change names.
_MOST_FIELDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Parts of a sentence, to be put together around a link."""

    actor: str
    before: str
    #: Empty: the object has no name of its own.
    target: str
    after: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.actor, self.before, self.target, self.after)))


def sentence(event: AuditEvent) -> Sentence:
    """`Demo admin` `revoked a credential of the access profile` `ACME Token`."""
    kind, _, verb = event.action.partition(".")
    noun = NOUNS.get(event.target_kind, event.target_kind.replace("_", " "))
    plain = f"{verb.replace('_', ' ')}: {{}}"
    phrase = _ACTIONS.get(event.action) or _VERBS.get(verb, plain)
    if event.action == "member.sign_in" and event.actor_name == event.target_name:
        return Sentence(actor=event.actor_name, before="signed in", target="")
    if verb == "change" and event.before and kind in NOUNS:
        phrase = _fields(event) or phrase
    target = "" if event.target_kind in _ONE else event.target_name
    before, _, after = phrase.format(f"the {noun}\0").partition("\0")
    return Sentence(actor=event.actor_name, before=before, target=target, after=after.strip())


def _fields(event: AuditEvent) -> str:
    """`changed policy and labels of {}`; empty where many changed."""
    names = [
        name.removesuffix("_ids").removesuffix("_id").replace("_", " ")
        for name in dict.fromkeys([*event.before, *event.after])
    ]
    if names == ["name"]:
        return "renamed {}"
    if not 0 < len(names) <= _MOST_FIELDS:
        return ""
    *first, last = names
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"changed {listed} of {{}}"
