// Tokens of the library jose: reads [{alg, key (a private JWK), claims}] and writes their tokens.
import { readFileSync } from "node:fs";
import { importJWK, SignJWT } from "jose";

const tokens = [];
for (const { alg, key, claims } of JSON.parse(readFileSync(0, "utf8"))) {
  const signing = await importJWK(key, alg);
  tokens.push(await new SignJWT(claims).setProtectedHeader({ alg, typ: "JWT" }).sign(signing));
}
console.log(JSON.stringify(tokens));
