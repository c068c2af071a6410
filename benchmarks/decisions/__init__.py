"""How good decisions are: labelled traces, our evaluator and those of others, and what each got wrong."""
