"""Checks of a lease store (`holdfast.ports.LeaseStore`)."""

from __future__ import annotations

from typing import Final

from .policy import MakeStore
from .watching import Control, connected, patiently, raises_link_down


async def check_lease_store(make_store: MakeStore, control: Control) -> None:
    """Run every check of `LEASE_CHECKS`, each on an emptied server."""
    for check in LEASE_CHECKS:
        await control.wipe()
        await check(make_store, control)


async def one_owner_at_a_time(make_store: MakeStore, control: Control) -> None:
    ours, theirs = make_store(), make_store()
    async with connected(ours), connected(theirs):
        first = await ours.acquire("ours", ttl_seconds=30)
        assert first is not None, "a free lease is granted"
        assert first.fencing_token > 0, "0 is the token of those without a lease"
        assert await theirs.acquire("theirs", ttl_seconds=30) is None, "the lease is held"
        await theirs.release("theirs")
        assert await theirs.acquire("theirs", ttl_seconds=30) is None, "only its owner releases it"
        renewed = await ours.acquire("ours", ttl_seconds=30)
        assert renewed is not None, "its owner renews a lease"
        assert renewed.fencing_token == first.fencing_token, "a renewal keeps the token"
        assert renewed.expires_at >= first.expires_at, "a renewal never shortens a lease"
        assert not renewed.virgin, "the store knows that there was a lease"
        await ours.release("ours")
        second = await theirs.acquire("theirs", ttl_seconds=30)
        assert second is not None, "a released lease is granted"
        assert second.fencing_token > first.fencing_token, "a new holder has a greater token"
        assert not second.virgin, "the store knows that there was a lease"


async def a_token_can_be_asked_for_above_one_seen_elsewhere(
    make_store: MakeStore, control: Control
) -> None:
    ours, theirs = make_store(), make_store()
    async with connected(ours), connected(theirs):
        first = await ours.acquire("ours", ttl_seconds=30)
        assert first is not None, "a free lease is granted"
        seen = first.fencing_token + 1_000_000_000
        assert await theirs.acquire("theirs", ttl_seconds=30, above=seen) is None, (
            "a great token takes no lease from its holder"
        )
        same = await ours.acquire("ours", ttl_seconds=30, above=first.fencing_token - 1)
        assert same is not None, "its owner renews a lease"
        assert same.fencing_token == first.fencing_token, "great enough is not given anew"
        second = await ours.acquire("ours", ttl_seconds=30, above=seen)
        assert second is not None, "its owner renews a lease"
        assert second.fencing_token > seen, "the new token is above the one seen"
        await ours.release("ours")
        third = await theirs.acquire("theirs", ttl_seconds=30)
        assert third is not None, "a released lease is granted"
        assert third.fencing_token > second.fencing_token, "tokens go on growing from there"
        await theirs.release("theirs")
        fourth = await ours.acquire("ours", ttl_seconds=30, above=third.fencing_token + 1000)
        assert fourth is not None, "a free lease is granted"
        assert fourth.fencing_token > third.fencing_token + 1000, "above the one seen"


async def a_forgotten_lease_is_told(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        first = await store.acquire("ours", ttl_seconds=30)
        assert first is not None, "a free lease is granted"
        await control.wipe()
        await watch.until("`up` is called", lambda: watch.is_up)
        second = await patiently(lambda: store.acquire("theirs", ttl_seconds=30))
        assert second is not None, "a forgotten lease is granted"
        assert second.virgin, "a store that lost its data cannot know who holds the lease"
        assert second.fencing_token > first.fencing_token, "tokens grow also over a loss of data"


async def a_lease_needs_the_store(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        await control.stop()
        await watch.until("`down` is called", lambda: not watch.is_up)
        await raises_link_down("acquire", store.acquire("ours", ttl_seconds=30))
        await control.start()
        await watch.until("`up` is called", lambda: watch.is_up)
        grant = await store.acquire("ours", ttl_seconds=30)
        assert grant is not None, "the lease is granted once the store is back"


LEASE_CHECKS: Final = (
    one_owner_at_a_time,
    a_token_can_be_asked_for_above_one_seen_elsewhere,
    a_forgotten_lease_is_told,
    a_lease_needs_the_store,
)
