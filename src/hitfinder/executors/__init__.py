"""Executors: how one piece of work is done for many tasks, in this process or in several."""
