"""Checks any container runtime that speaks the tutorial's verbs, in whatever language it is written.

It never imports a runtime: it runs it as a program, in a world of its own, and reads the kernel's tables.
"""
