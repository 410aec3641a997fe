"""The benchmarks behind `gpucnn bench`: one module a subcommand, each with a main(arguments) -> exit code."""
