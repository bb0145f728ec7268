"""Rate limits and quotas under a flood of ten times the limit: how many pass in every window."""

import time

from bench.stand import a_guarded_api, product, upstream, wrk


def main() -> None:
    with product() as stage, upstream() as server:
        collection, _ = a_guarded_api(stage, server, rate=(1, "second"))
        url = f"http://127.0.0.1:{stage.gateway}/bench-v1/orders/1"
        for limit in (1, 2, 5, 100, 10_000):
            policy = stage.a_policy(rate=(limit, "minute"))
            profile = stage.a_profile(collection, api_policy_id=policy["id"])
            while time.time() % 60 > 45:
                time.sleep(0.5)
            done = wrk(url, f"API-TOKEN: {profile['secret']}", seconds=8, connections=32)
            passed = done["total"] - done["bad"]
            print(
                f"{limit} a minute: {done['total']:,.0f} calls on 32 connections, {passed:,.0f}"
                f" passed, over by {max(0, passed - limit):.0f}, under by {max(0, limit - passed):.0f}"
            )
        for limit in (1, 2, 5, 100):
            policy = stage.a_policy(rate=(limit, "second"))
            profile = stage.a_profile(collection, api_policy_id=policy["id"])
            time.sleep(1 - time.time() % 1 + 0.3)
            first = int(time.time())
            done = wrk(url, f"API-TOKEN: {profile['secret']}", seconds=6, connections=32)
            windows = int(time.time()) - first + 1
            passed = done["total"] - done["bad"]
            print(
                f"{limit} a second: {passed:,.0f} passed in {windows} windows, at most {limit * windows}"
            )
        for limit in (1, 100, 10_000):
            policy = stage.a_policy(quota=(limit, "month"))
            profile = stage.a_profile(collection, api_policy_id=policy["id"])
            done = wrk(url, f"API-TOKEN: {profile['secret']}", seconds=6, connections=32)
            passed = done["total"] - done["bad"]
            print(f"quota of {limit}: {passed:,.0f} of {done['total']:,.0f} calls passed")


if __name__ == "__main__":
    main()
