"""Programs as answers: run where they can do no harm, judged where they cannot reach (docs/design/programs.md)."""
