"""Signed tokens: tokens a second, first and hundredth call, and what floods of bad ones cost."""

import http.client
import statistics
import threading
import time
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.stage import Stage

from bench.stand import a_guarded_api, cpu_seconds, product, quantile, upstream, wrk

SECRET = "a secret of the benchmark that is long enough for all of them"

#: A client asks for one token after another.
TOKENS = """
wrk.method = "POST"
wrk.body = "{body}"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.path = "/oauth2/token"
"""

#: Each call has a token that is well-formed, names a profile, and has another signature.
BAD_SIGNATURES = """
local n = 0
request = function()
  n = n + 1
  local number = tostring(n)
  local signature = string.rep("A", {length} - #number) .. number
  return wrk.format("GET", "/bench-v1/orders/1", {{["Authorization"] = "Bearer {head}." .. signature}})
end
"""


def tokens(stage: Stage, profile: dict[str, str]) -> None:
    """Access tokens a second, and per second of the authority's processor time."""
    pids = stage.pids("authority")
    body = urlencode({
        "grant_type": "client_credentials",
        "client_id": profile["oauth_client_id"],
        "client_secret": profile["oauth_client_secret"],
    })  # fmt: skip
    before = cpu_seconds(pids)
    url = f"http://127.0.0.1:{stage.gateway}/"
    done = wrk(url, seconds=5, connections=16, script=TOKENS.format(body=body))
    used = cpu_seconds(pids) - before
    print(
        f"access tokens: {done['rate']:,.0f}/s beside load and gateway on two cores,"
        f" {done['total'] / used:,.0f} per second of the authority's processor time"
    )


def calls(stage: Stage, name: str, made: list[str]) -> None:
    """What the first and the hundredth call with the same token take, at the median."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    firsts, hundredths = [], []
    for token in made:
        headers = {"Authorization": f"Bearer {token}"}
        for number in range(1, 101):
            began = time.perf_counter()
            connection.request("GET", "/bench-v1/orders/1", headers=headers)
            answer = connection.getresponse()
            answer.read()
            took = (time.perf_counter() - began) * 1000
            assert answer.status == 200, answer.status
            if number == 1:
                firsts.append(took)
            if number == 100:
                hundredths.append(took)
    print(
        f"{name}: the first call takes {statistics.median(firsts):.2f} ms, the hundredth"
        f" {statistics.median(hundredths):.2f} ms, at the median"
    )


def flood(stage: Stage, head: str, length: int, good: str) -> None:
    """Bad signatures from one address, while a caller with a lease and one without go on."""
    pids = stage.pids("authority")
    before = cpu_seconds(pids)
    results: list[dict[str, float]] = []
    script = BAD_SIGNATURES.format(head=head, length=length)

    def load() -> None:
        url = f"http://127.0.0.1:{stage.gateway}/"
        results.append(wrk(url, seconds=5, connections=32, script=script))

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(0.5)
    connection = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    taken, refused = [], 0
    while thread.is_alive():
        began = time.perf_counter()
        connection.request("GET", "/bench-v1/orders/1", headers={"Authorization": f"Bearer {good}"})
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        refused += answer.status != 200
    thread.join()
    print(
        f"flood of bad signatures, {results[0]['rate']:,.0f}/s: the authority used"
        f" {cpu_seconds(pids) - before:.2f} s of processor in 5 s; {refused} of {len(taken)} calls"
        f" with a good token were refused, p50 {quantile(taken, 0.5):.2f} ms,"
        f" p99 {quantile(taken, 0.99):.2f} ms"
    )


def main() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with product() as stage, upstream() as server:
        collection, _ = a_guarded_api(stage, server)
        oauth = stage.a_profile(collection, auth_type="oauth2")
        hmac = stage.a_profile(collection, auth_type="jwt", jwt_method="hmac", jwt_secret=SECRET)
        by_rsa = stage.a_profile(
            collection, auth_type="jwt", jwt_method="rsa", jwt_secret=pem.decode()
        )
        tokens(stage, oauth)
        later = int(time.time()) + 3000
        made = [
            jwt.encode({"sub": hmac["profile_key"], "exp": later, "n": n}, SECRET, "HS256")
            for n in range(60)
        ]
        calls(stage, "JWT, HS256", made)
        signed = [
            jwt.encode({"sub": by_rsa["profile_key"], "exp": later, "n": n}, key, "RS256")
            for n in range(60)
        ]
        calls(stage, "JWT, RS256", signed)
        head, _, signature = signed[0].rpartition(".")
        flood(stage, head, len(signature), signed[1])


if __name__ == "__main__":
    main()
