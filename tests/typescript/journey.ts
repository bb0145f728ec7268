// Client → profile → call → refresh → disable → usage, as the types of the API's document say.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./ostiary.js";

type ErrorCode = components["schemas"]["Error"]["code"];

const [url, token, target, collection] = process.argv.slice(2);
assert(url && token && target && collection);
const api = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

async function call(secret: string): Promise<number> {
  return (await fetch(target!, { headers: { "API-TOKEN": secret } })).status;
}

function answered<T>(answer: { data?: T; error?: { code: ErrorCode; message: string } | undefined }): T {
  if (answer.data === undefined) throw new Error(answer.error?.code ?? "no answer");
  return answer.data;
}

const client = { body: { name: "Generated" }, params: { header: { "Idempotency-Key": "ts" } } };
const made = answered(await api.POST("/api/api_clients", client)).result;
const again = answered(await api.POST("/api/api_clients", client)).result;
assert.equal(made.id, again.id);

const profile = answered(
  await api.POST("/api/api_access_profiles", {
    body: {
      name: "P",
      api_client_id: made.id,
      api_collection_ids: [Number(collection)],
      auth_type: "token",
    },
  }),
).result;
const first = profile.secret;
assert(typeof first === "string");
assert.equal(await call(first), 200);

const path = { params: { path: { profile_id: profile.id } } };
const fresh = answered(await api.PUT("/api/api_access_profiles/{profile_id}/refresh_secret", path));
const second = fresh.result.secret;
assert(typeof second === "string");
assert.deepEqual([await call(first), await call(second)], [401, 200]);

const switched = answered(await api.PUT("/api/api_access_profiles/{profile_id}/disable", path));
assert.equal(switched.revocation.confirmed, 1);
assert.equal(await call(second), 401);

const usage = answered(
  await api.GET("/api/v2/usage", { params: { query: { access_profile_id: profile.id } } }),
);
// The document says that it may also be CSV.
assert(typeof usage === "object" && Array.isArray(usage.data));

const missing = await api.GET("/api/api_clients/{client_id}", {
  params: { path: { client_id: 2_000_000 } },
});
const code: ErrorCode | undefined = missing.error?.code;
assert.equal(code, "not_found");
console.log("done");
