// An OpenID provider on a loopback port: PORT KEYS-FILE. The keys (a JWKS with private keys) are
// read at the start; to rotate them the tests start it anew, as an operator would.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [port, keys] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  jwks: JSON.parse(readFileSync(keys, "utf8")),
  clients: [
    {
      client_id: "acme",
      client_secret: "a secret of the tests alone",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:orders",
      getResourceServerInfo: () => ({
        scope: "",
        audience: "urn:orders",
        accessTokenTTL: 600,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
