"""Deciding. Pure: no clock, no network, no Kopf; everything it knows is passed in.

`life.advance` takes a request, what was observed and the time, and gives the next status and the next action.
"""
