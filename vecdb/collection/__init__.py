"""One collection: its store, the view that readers search, and the segments built behind them.

`collection` is the way in; `view` is what one reader sees and how it catches up; `build` makes
segments, in any process; `plan` says which to make next.
"""
