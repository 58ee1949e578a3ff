#!/usr/bin/env python3
"""Django's command line for pgpanel."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgpanel.settings")
    from django.core.management import execute_from_command_line

    from accounts import acting

    with acting.as_(acting.by_command()):
        execute_from_command_line(sys.argv)
