"""Results to look at, made from result files alone: reports, comparisons, tables of papers, a leaderboard."""
