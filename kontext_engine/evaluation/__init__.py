"""Measuring Kontext models on pictures whose right answer is known: the studio bench.

Journey of an edit: items (what is asked, nine candidate answers) -> answers (the ordinary engine)
-> score (numpy) -> figures -> tables, summary (JSON), pages (HTML).
"""
