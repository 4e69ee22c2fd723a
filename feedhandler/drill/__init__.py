"""``feedhandler drill``: the user's configuration against a simulated Bybit that shows every fault, and a scorecard.

Pure are the judges (`ledger`, `scoring`, what `expectation` promises); `venue`, `process` and `strategy` hold the
processes and sockets, and `course` runs one fault after the other.
"""
