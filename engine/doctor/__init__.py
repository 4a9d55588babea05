"""`holdfast doctor`: does everything a bot needs stand as it should, before it trades.

What is there is looked at by thin shells (`machine`, `servers`, `venue`), which fill plain
values; what it means, and what to do about it, is decided by pure functions of those
(`machine_checks`, `server_checks`, `venue_checks`). Nothing is changed and nothing is
ordered, so a running bot may be examined. No key, secret or password is in any of it.
"""
