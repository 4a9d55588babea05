"""What is common to all who speak Binance's USDⓈ-M futures protocol as a client.

`client` is the execution client, `market` live market data; who signs (`signing`, or ccxt in
`transports.binance`) is the only difference between venues. A request goes through `line`:
`pacing` lets it go within the venue's `limits`, `session` sends it once and knows whether it
left, `health` judges the link by it. Pure, without I/O and clock: `errors` decides what a
reply proves, `wire`, `frames`, `listing`, `algo` and `account_wire` read the venue's JSON.
"""
