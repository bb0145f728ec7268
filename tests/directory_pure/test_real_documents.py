"""Documents in the manner of well-known APIs come in whole but for what cannot, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from ostiary.access.paths import choose, parse_template
from ostiary.directory.catalog.openapi import Operation, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    text: str
    #: What becomes an endpoint.
    taken: tuple[str, ...]
    server: str | None
    #: What does not, with a part of the reason.
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: int = 0
    #: Calls, and the endpoint that each means.
    calls: Mapping[str, str] = field(default_factory=dict)


TWILIO = Excerpt(
    text="""
openapi: 3.0.1
info: {title: Twilio - Api, version: 1.50.0}
servers: [{url: 'https://api.twilio.com'}]
paths:
  /2010-04-01/Accounts.json:
    servers: [{url: 'https://api.twilio.com'}]
    description: A collection
    x-twilio: {defaultOutputProperties: [sid]}
    get: {operationId: ListAccount, responses: {'200': {description: OK}}}
    post: {operationId: CreateAccount}
  /2010-04-01/Accounts/{Sid}.json:
    get: {operationId: FetchAccount, parameters: [{name: Sid, in: path, required: true}]}
    post: {operationId: UpdateAccount}
  /2010-04-01/Accounts/{AccountSid}/Messages/{MessageSid}/Media/{Sid}.json:
    delete: {operationId: DeleteMedia}
  /2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json:
    get: {operationId: FetchMessage}
""",
    taken=(
        "GET /2010-04-01/Accounts.json",
        "POST /2010-04-01/Accounts.json",
        "GET /2010-04-01/Accounts/{Sid}.json",
        "POST /2010-04-01/Accounts/{Sid}.json",
        "DELETE /2010-04-01/Accounts/{AccountSid}/Messages/{MessageSid}/Media/{Sid}.json",
        "GET /2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json",
    ),
    server="https://api.twilio.com",
    notes=1,
    calls={
        "GET /2010-04-01/Accounts/AC5.json": "FetchAccount",
        "GET /2010-04-01/Accounts/AC5/Messages/SM7.json": "FetchMessage",
    },
)
GITHUB = Excerpt(
    text="""
openapi: 3.0.3
info: {title: GitHub v3 REST API, version: 1.1.4}
servers: [{url: 'https://api.github.com'}]
paths:
  /repos/{owner}/{repo}/compare/{basehead}:
    get:
      summary: Compare two commits
      parameters: [{$ref: '#/components/parameters/owner'}]
      responses: {'200': {content: {application/json: {schema: {$ref: '#/components/schemas/c'}}}}}
  /repos/{owner}/{repo}/contents/{path}: {get: {summary: Get content}, put: {}, delete: {}}
  /user/codespaces/{codespace_name}/machines: {get: {}}
components:
  parameters: {owner: {name: owner, in: path, required: true, schema: {type: string}}}
  schemas: {c: {type: object, properties: {url: {type: string}}}}
x-webhooks: {check-run: {post: {}}}
""",
    taken=(
        "GET /repos/{owner}/{repo}/compare/{basehead}",
        "GET /repos/{owner}/{repo}/contents/{path}",
        "PUT /repos/{owner}/{repo}/contents/{path}",
        "DELETE /repos/{owner}/{repo}/contents/{path}",
        "GET /user/codespaces/{codespace_name}/machines",
    ),
    server="https://api.github.com",
    calls={"GET /repos/a/b/compare/v1...v2": "Compare two commits"},
)
DISCORD = Excerpt(
    text="""
openapi: 3.1.0
info: {title: Discord HTTP API (Preview), version: '10'}
servers: [{url: 'https://discord.com/api/v10'}]
paths:
  /users/@me: {get: {operationId: get_my_user}, patch: {}}
  /users/{user_id}: {get: {operationId: get_user}}
  /webhooks/{webhook_id}/{webhook_token}/messages/@original:
    parameters: [{name: webhook_id, in: path}]
    get: {operationId: get_original}
  /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}: {get: {operationId: get_message}}
""",
    taken=(
        "GET /users/@me",
        "PATCH /users/@me",
        "GET /users/{user_id}",
        "GET /webhooks/{webhook_id}/{webhook_token}/messages/@original",
        "GET /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
    ),
    server="https://discord.com/api/v10",
    calls={
        "GET /users/@me": "get_my_user",
        "GET /users/7": "get_user",
        "GET /webhooks/1/t/messages/@original": "get_original",
    },
)
DIGITALOCEAN = Excerpt(
    text="""
openapi: 3.0.0
info: {title: DigitalOcean API, version: '2.0'}
servers: [{url: 'https://api.digitalocean.com', description: production}]
paths:
  /v2/droplets: {get: {operationId: droplets_list}, delete: {operationId: droplets_destroy_byTag}}
  /v2/droplets/{droplet_id}: {$ref: '#/components/pathItems/droplet'}
  /v2/registries/{registry_name}/repositories/{repository_name}/tags/{tag}: {delete: {}}
components: {pathItems: {droplet: {get: {operationId: droplets_get}, delete: {}}}}
""",
    taken=(
        "GET /v2/droplets",
        "DELETE /v2/droplets",
        "GET /v2/droplets/{droplet_id}",
        "DELETE /v2/droplets/{droplet_id}",
        "DELETE /v2/registries/{registry_name}/repositories/{repository_name}/tags/{tag}",
    ),
    server="https://api.digitalocean.com",
)
KUBERNETES = Excerpt(
    text="""
swagger: '2.0'
info: {title: Kubernetes, version: v1.29.0}
paths:
  /.well-known/openid-configuration/: {get: {operationId: getConfiguration}}
  /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}:
    parameters: [{$ref: '#/parameters/path-oPLtSYx8'}, {name: path, in: path, uniqueItems: true}]
    get: {operationId: connectGetPodProxyWithPath}
    head: {}
    options: {}
    patch: {}
  /logs/: {get: {operationId: logFileListHandler}}
  /logs/{logpath}: {get: {operationId: logFileHandler}}
parameters: {path-oPLtSYx8: {in: query, name: path, type: string}}
definitions: {a: {properties: {b: {type: string}}}}
""",
    taken=(
        "GET /.well-known/openid-configuration/",
        "GET /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}",
        "HEAD /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}",
        "OPTIONS /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}",
        "PATCH /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}",
        "GET /logs/",
        "GET /logs/{logpath}",
    ),
    server=None,
)
STRIPE = Excerpt(
    text="""
{"openapi": "3.0.0", "info": {"title": "Stripe API", "version": "2023-10-16"},
 "servers": [{"url": "https://api.stripe.com/"}],
 "paths": {"/v1/charges/{charge}": {"get": {"operationId": "GetChargesCharge",
   "parameters": [{"name": "charge", "in": "path", "required": true, "style": "simple"}],
   "requestBody": {"content": {"application/x-www-form-urlencoded": {"encoding": {}}}}}},
  "/v1/charges/search": {"get": {"operationId": "GetChargesSearch"}},
  "/v1/linked_accounts/{account}/refresh": {"post": {}}}}
""",
    taken=(
        "GET /v1/charges/{charge}",
        "GET /v1/charges/search",
        "POST /v1/linked_accounts/{account}/refresh",
    ),
    server="https://api.stripe.com/",
    calls={
        "GET /v1/charges/search": "GetChargesSearch",
        "GET /v1/charges/ch_5": "GetChargesCharge",
    },
)
PETSTORE = Excerpt(
    text="""
{"swagger": "2.0", "info": {"version": "1.0.7", "title": "Swagger Petstore"},
 "host": "petstore.swagger.io", "basePath": "/v2", "schemes": ["https", "http"],
 "paths": {"/pet/{petId}/uploadImage": {"post": {"summary": "uploads an image",
   "consumes": ["multipart/form-data"], "parameters": [{"name": "petId", "in": "path"}]}},
  "/pet": {"post": {}, "put": {}}, "/user/{username}": {"get": {}}},
 "securityDefinitions": {"api_key": {"type": "apiKey", "name": "api_key", "in": "header"}}}
""",
    taken=("POST /pet/{petId}/uploadImage", "POST /pet", "PUT /pet", "GET /user/{username}"),
    server="https://petstore.swagger.io/v2",
)
SLACK = Excerpt(
    text="""
{"swagger": "2.0", "info": {"title": "Slack Web API", "version": "1.7.0"}, "host": "slack.com",
 "basePath": "/api", "schemes": ["https"],
 "paths": {"/admin.apps.approve": {"post": {"operationId": "admin_apps_approve"}},
  "/chat.postMessage": {"post": {"operationId": "chat_postMessage"}}}}
""",
    taken=("POST /admin.apps.approve", "POST /chat.postMessage"),
    server="https://slack.com/api",
)
NYTIMES = Excerpt(
    text="""
swagger: '2.0'
info: {title: Books API, version: 3.0.0}
host: api.nytimes.com
schemes: [http]
basePath: /svc/books/v3
paths: {'/lists/{date}/{list}.json': {get: {}}, '/lists.{format}': {get: {}}}
""",
    taken=("GET /lists/{date}/{list}.json", "GET /lists.{format}"),
    server="http://api.nytimes.com/svc/books/v3",
)
AMAZON = Excerpt(
    text="""
openapi: 3.0.1
info: {title: gateway, version: 2024-01-01T00:00:00Z}
servers: [{url: 'https://abc.execute-api.eu-west-1.amazonaws.com/{basePath}',
           variables: {basePath: {default: prod}}}]
paths:
  /{proxy+}:
    x-amazon-apigateway-any-method:
      parameters: [{name: proxy, in: path, required: true}]
      x-amazon-apigateway-integration: {type: http_proxy}
  /health: {get: {}, x-amazon-apigateway-any-method: {}}
  /mock/{a+}/more: {get: {}}
""",
    taken=("ANY /{proxy...}", "GET /health", "ANY /health"),
    server="https://abc.execute-api.eu-west-1.amazonaws.com/prod",
    skipped={"GET /mock/{a+}/more": "write {a...}"},
    notes=1,
    calls={
        "PUT /a/b/c": "ANY /{proxy...}",
        "PUT /health": "ANY /health",
        "GET /health": "GET /health",
    },
)
GOOGLE = Excerpt(
    text="""
openapi: 3.0.0
info: {title: Google Library, version: v1}
servers: [{url: 'https://library-example.googleapis.com/'}]
paths:
  /v1/shelves/{shelf}:merge: {post: {operationId: MergeShelves}}
  /v1/shelves/{shelf}: {get: {operationId: GetShelf}}
  /v1/topics:batchGet: {get: {}}
  /v1/{+parent}: {get: {operationId: GetAny}}
  /v1/{name=shelves/*/books/*}: {get: {}}
""",
    taken=(
        "POST /v1/shelves/{shelf}:merge",
        "GET /v1/shelves/{shelf}",
        "GET /v1/topics:batchGet",
        "GET /v1/{parent...}",
    ),
    server="https://library-example.googleapis.com/",
    skipped={"GET /v1/{name=shelves/*/books/*}": "write {name}"},
    notes=1,
    calls={
        "POST /v1/shelves/5:merge": "MergeShelves",
        "GET /v1/shelves/5": "GetShelf",
        "GET /v1/a/b": "GetAny",
    },
)
ODATA = Excerpt(
    text="""
openapi: 3.0.4
info: {title: OData Service, version: 1.0.1}
servers: [{url: https://services.odata.org/V4}]
paths:
  /Products: {get: {}, post: {}}
  '/Products({ID})': {get: {operationId: product}, patch: {}}
  "/reports/getActivity(period='{period}',top={top})": {get: {operationId: report}}
  /$metadata: {get: {}}
  /users/{user-id}/microsoft.graph.delta(): {get: {}}
""",
    taken=(
        "GET /Products",
        "POST /Products",
        "GET /Products({ID})",
        "PATCH /Products({ID})",
        "GET /reports/getActivity(period='{period}',top={top})",
        "GET /$metadata",
        "GET /users/{user-id}/microsoft.graph.delta()",
    ),
    server="https://services.odata.org/V4",
    calls={
        "GET /Products(7)": "product",
        "GET /reports/getActivity(period='D7',top=5)": "report",
    },
)
BOX = Excerpt(
    text="""
openapi: 3.0.2
info: {title: Box Platform API, version: '2.0'}
servers: [{url: 'https://api.box.com/2.0'}]
paths:
  /authorize: {get: {}, servers: [{url: 'https://account.box.com/api/oauth2'}]}
  /oauth2/token: {post: {}}
  /oauth2/token#refresh: {post: {}}
  /files/{file_id}: {get: {}, options: {}}
  /files/{file_id}#update: {put: {}}
""",
    taken=(
        "GET /authorize",
        "POST /oauth2/token",
        "GET /files/{file_id}",
        "OPTIONS /files/{file_id}",
        "PUT /files/{file_id}",
    ),
    server="https://api.box.com/2.0",
    skipped={"POST /oauth2/token#refresh": "same method and path: POST /oauth2/token"},
    notes=2,
    calls={"PUT /files/7": "PUT /files/{file_id}"},
)
OPENAI = Excerpt(
    text="""
openapi: 3.0.0
info: {title: OpenAI API, version: 2.3.0}
servers: [{url: 'https://api.openai.com/v1'}]
paths:
  /files/{file_id}/content: {get: {}}
  /organization/costs: {get: {}}
  /threads/{thread_id}?beta=true: {get: {}}
""",
    taken=(
        "GET /files/{file_id}/content",
        "GET /organization/costs",
        "GET /threads/{thread_id}",
    ),
    server="https://api.openai.com/v1",
    notes=1,
)
#: Actions in a query or a form, told apart by what no call has in its path.
AMAZON = Excerpt(
    text="""
openapi: 3.0.0
info: {title: Amazon EC2, version: '2016-11-15'}
servers: [{url: 'https://ec2.us-east-1.amazonaws.com'}]
paths:
  /#Action=RunInstances: {get: {operationId: GET_RunInstances}, post: {operationId: POST_RunInstances}}
  /#Action=StopInstances: {get: {operationId: GET_StopInstances}}
  /2012-09-25/jobs?start=1: {get: {}}
""",
    taken=("GET /", "POST /", "GET /2012-09-25/jobs"),
    server="https://ec2.us-east-1.amazonaws.com",
    skipped={"GET /#Action=StopInstances": "same method and path: GET /#Action=RunInstances"},
    notes=3,
)
FRAMEWORKS = Excerpt(
    text="""
openapi: 3.0.0
info: {title: By hand, version: 1}
servers: [{url: /api}]
paths:
  /users/:id: {get: {}}
  /items/<int:item>: {get: {}}
  /files/*: {get: {}}
  /orders/{id:[0-9]+}: {get: {}}
  /good/{id}: {get: {}, trace: {}}
""",
    taken=("GET /good/{id}",),
    server=None,
    skipped={
        "GET /users/:id": "write {id}",
        "GET /items/<int:item>": "write {item}",
        "GET /files/*": "write {name}",
        "GET /orders/{id:[0-9]+}": "write {id}",
        "TRACE /good/{id}": "does not forward",
    },
)
EXCERPTS = {
    name.lower(): value for name, value in list(globals().items()) if isinstance(value, Excerpt)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routed:
    method: str
    template: Any
    name: str
    active: bool = True


def _name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("name", EXCERPTS)
def test_a_document_of_that_style_comes_in(name: str) -> None:
    excerpt = EXCERPTS[name]
    form = "json" if excerpt.text.lstrip().startswith("{") else "yaml"
    document = read(excerpt.text, form)
    assert tuple(map(_name, document.operations)) == excerpt.taken
    assert document.server_url == excerpt.server
    assert bool(document.server_problem) == (excerpt.server is None)
    assert {each.where for each in document.skipped} == set(excerpt.skipped)
    for skipped in document.skipped:
        assert excerpt.skipped[skipped.where] in skipped.reason
    assert len(document.notes) == excerpt.notes
    routed = [
        _Routed(method=o.method, template=parse_template(o.path), name=o.name)
        for o in document.operations
    ]
    for call, wanted in excerpt.calls.items():
        method, _, path = call.partition(" ")
        chosen = choose(routed, method, path).endpoint
        assert chosen is not None, call
        assert chosen.name == wanted, call


@pytest.mark.parametrize("name", EXCERPTS)
def test_json_and_yaml_of_it_say_the_same(name: str) -> None:
    text = EXCERPTS[name].text
    # Every value becomes a text in quotes, which is another one only in what is kept for consumers.
    tree = yaml.load(text, Loader=yaml.BaseLoader)
    quoted = read(yaml.safe_dump(tree, sort_keys=False), "yaml")
    plain = read(text, "json" if text.lstrip().startswith("{") else "yaml")
    assert replace(quoted, specification=None) == replace(plain, specification=None)
