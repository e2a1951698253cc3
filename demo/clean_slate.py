"""Looks for files that an earlier sandbox left. Ends with 1 when it finds one: nothing may outlive its sandbox."""

import os
import sys

found = [path for path in sys.argv[1:] if os.path.lexists(path)]
for path in sys.argv[1:]:
    print(f"{path}: {'STILL HERE' if path in found else 'not here'}")
others = sorted(name for name in os.listdir("/home/user") if not name.startswith(".") and name != os.path.basename(__file__))
print(f"/home/user holds {', '.join(others) or 'nothing but this program'}.")
sys.exit(1 if found else 0)
