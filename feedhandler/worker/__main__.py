"""``python -m feedhandler.worker``: one worker process; the supervisor starts it and writes its plan to stdin."""

import sys

from feedhandler.worker.main import main

sys.exit(main())
