"""Distilled sets: the type, its formats, its checks, its repository on the Hub."""
