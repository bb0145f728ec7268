// An OpenID provider on a loopback port: PORT KEYS-FILE [PEOPLE-FILE [TOKEN-SECONDS]]. The keys (a JWKS with private
// keys) are read at the start; to rotate them the tests start it anew, as an operator would. With
// PEOPLE-FILE ({redirect_uri, people: {login: claims}}, read at each use) people can sign in.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [port, keys, people, seconds = "600"] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const console_ = people && {
  client_id: "console",
  client_secret: "a secret: of the tests/alone",
  grant_types: ["authorization_code"],
  redirect_uris: [read(people).redirect_uri],
  response_types: ["code"],
};
const provider = new Provider(issuer, {
  jwks: read(keys),
  clients: [
    {
      client_id: "acme",
      client_secret: "a secret of the tests alone",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    ...(people ? [console_] : []),
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  findAccount: (_, login) => ({
    accountId: login,
    claims: () => ({ sub: login, ...read(people).people[login] }),
  }),
  pkce: { required: () => true },
  cookies: { keys: ["of the tests alone"] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: Boolean(people) },
    resourceIndicators: {
      enabled: !people,
      defaultResource: () => "urn:orders",
      getResourceServerInfo: () => ({
        scope: "",
        audience: "urn:orders",
        accessTokenTTL: Number(seconds),
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
