"""`make drill`: real faults against a real cluster of processes, and a card of what each came to."""
