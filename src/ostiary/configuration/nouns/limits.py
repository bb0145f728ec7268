"""Policies and address lists in files."""

from collections.abc import Iterable

from ostiary.access.limits import Interval
from ostiary.configuration.nouns.file_noun import Fields, FileNoun, Keys, Made, saved
from ostiary.directory.actor import Actor
from ostiary.directory.changes.inputs import Input
from ostiary.directory.clients import address_lists, policies
from ostiary.directory.models import AddressList, Policy


class PolicyFiles(FileNoun[Policy, None]):
    kind, section, input = "policy", "policies", policies.PolicyInput
    revokes = False
    hidden = frozenset({"project_id", "key", "rate_limit"})
    has_own_name = True

    def rows(self, project_id: int) -> Iterable[Policy]:
        return Policy.objects.filter(project_id=project_id).order_by("pk")

    def shown(self, row: Policy, keys: Keys) -> Fields:
        quota = None
        if row.quota_limit is not None:
            quota = {"limit": row.quota_limit, "interval": row.quota_interval}
        rates = [
            {"limit": each.limit, "interval": str(each.interval)}
            for each in policies.rate_limits(row)
        ]
        return {**self.columns(row), "rate_limits": rates, "usage_quota": quota}

    def normal(self, given: Input) -> Fields:
        fields = super().normal(given)
        if isinstance(rates := fields.get("rate_limits"), list):
            order = [str(each) for each in Interval]
            dumped = [each.model_dump(mode="json") for each in rates]
            fields["rate_limits"] = sorted(dumped, key=lambda each: order.index(each["interval"]))
        if isinstance(quota := fields.get("usage_quota"), Input):
            fields["usage_quota"] = quota.model_dump(mode="json")
        return fields

    def draft(self, project_id: int, parent: None) -> Policy:
        return Policy(project_id=project_id)

    def check(self, by: Actor, row: Policy, fields: Fields) -> None:
        policies.check(row, policies.PolicyInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = policies.PolicyInput.of(project_id=owner_id, **fields)
        return saved(policies.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = policies.PolicyInput.of(**fields)
        return saved(policies.change(by=by, policy_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        policies.delete(by=by, policy_id=row_id)
        return 0


class AddressListFiles(FileNoun[AddressList, None]):
    kind, section, input = "address_list", "address_lists", address_lists.AddressListInput
    revokes = False
    hidden = frozenset({"project_id", "key"})
    has_own_name = True

    def rows(self, project_id: int) -> Iterable[AddressList]:
        return AddressList.objects.filter(project_id=project_id).defer("packed").order_by("pk")

    def shown(self, row: AddressList, keys: Keys) -> Fields:
        return {**self.columns(row), "entries": row.text.splitlines()}

    def normal(self, given: Input) -> Fields:
        fields = super().normal(given)
        if isinstance(text := fields.get("entries"), str):
            fields["entries"] = text.splitlines()
        return fields

    def draft(self, project_id: int, parent: None) -> AddressList:
        return AddressList(project_id=project_id)

    def check(self, by: Actor, row: AddressList, fields: Fields) -> None:
        address_lists.check(row, address_lists.AddressListInput.of(**fields))

    def create(self, by: Actor, owner_id: int, fields: Fields) -> Made:
        given = address_lists.AddressListInput.of(project_id=owner_id, **fields)
        return saved(address_lists.create(by=by, given=given))

    def change(self, by: Actor, row_id: int, fields: Fields) -> Made:
        given = address_lists.AddressListInput.of(**fields)
        return saved(address_lists.change(by=by, list_id=row_id, given=given))

    def delete(self, by: Actor, row_id: int) -> int:
        return address_lists.delete(by=by, list_id=row_id).sequence


POLICIES, ADDRESS_LISTS = PolicyFiles(), AddressListFiles()
