"""Carrying out a plan: what is there, what is made, what came of it, and what is handed over.

``execute`` makes steps and tells ``events``; ``outcome`` and ``ends`` say what came of each;
``outputs``, ``thumbs``, ``manifest`` and ``report`` are what it leaves; ``pipeline`` is all of it
in one process, and ``delivery`` the end that it shares with runs on a server.
"""
