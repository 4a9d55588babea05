"""What is common to all who speak Binance's USDⓈ-M futures protocol as a client.

`errors` decides what a reply proves, `wire` reads the venue's JSON, `signing`
makes the signed query. All are pure: no I/O, no clock.
"""
