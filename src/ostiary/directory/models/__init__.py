"""What the owner manages, as tables. Rules live in the use cases beside this package."""

from ostiary.directory.models.address_lists import AddressList
from ostiary.directory.models.clients import (
    AccessProfile,
    Client,
    ClientDefaults,
    Credential,
    ListedNetwork,
)
from ostiary.directory.models.collections import (
    Collection,
    Connection,
    Endpoint,
    ImportedSpecification,
    ImportReport,
)
from ostiary.directory.models.configuration import (
    ConfigurationPlan,
    ConfigurationSet,
    ManagedObject,
)
from ostiary.directory.models.deleted_objects import DeletedObject
from ostiary.directory.models.form_pages import FormPage
from ostiary.directory.models.handovers import Handover
from ostiary.directory.models.history import AuditEvent, Change
from ostiary.directory.models.members import (
    ManagementToken,
    Member,
    Membership,
    SavedFilter,
    SignInLink,
)
from ostiary.directory.models.nodes import NodeReport
from ostiary.directory.models.oauth import RevokedToken, SigningKey
from ostiary.directory.models.policies import Policy
from ostiary.directory.models.projects import Folder, Project, Property
from ostiary.directory.models.recipes import Recipe
from ostiary.directory.models.samples import DemoObject
from ostiary.directory.models.settings import Setting
from ostiary.directory.models.sign_in import (
    MemberSession,
    Provider,
    ProviderLink,
    RecoveryCode,
    SecondFactor,
)
from ostiary.directory.models.stored_answers import StoredAnswer
from ostiary.directory.models.webhooks import Webhook, WebhookDelivery, WebhookEvent

__all__ = [
    "AccessProfile",
    "AddressList",
    "AuditEvent",
    "Change",
    "Client",
    "ClientDefaults",
    "Collection",
    "ConfigurationPlan",
    "ConfigurationSet",
    "Connection",
    "Credential",
    "DeletedObject",
    "DemoObject",
    "Endpoint",
    "Folder",
    "FormPage",
    "Handover",
    "ImportReport",
    "ImportedSpecification",
    "ListedNetwork",
    "ManagedObject",
    "ManagementToken",
    "Member",
    "MemberSession",
    "Membership",
    "NodeReport",
    "Policy",
    "Project",
    "Property",
    "Provider",
    "ProviderLink",
    "Recipe",
    "RecoveryCode",
    "RevokedToken",
    "SavedFilter",
    "SecondFactor",
    "Setting",
    "SignInLink",
    "SigningKey",
    "StoredAnswer",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
]
