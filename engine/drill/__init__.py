"""The failure drill: is a bot that embeds holdfast safe when Redis dies? Measured.

Four kinds of processes: a real Redis-compatible server, the simulated exchange over
HTTP, the bot (`bot`), and the observer (`conduct`), which kills, restarts and feeds
them and joins three logs that the engine has no hand in: the bot's decisions
(`decisions`), the exchange's orders and requests (`exchange`), the stream read back
from Redis (`redis_side`). The joined log is an `observation`; the modules named
`*_checks` judge it and do nothing else.
"""
