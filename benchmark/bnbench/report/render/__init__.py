"""One table, many forms: a module for each of them, which turns any `bnbench.analysis.table.Table` into text."""
