"""Support for long jobs: threads, memory, progress, background work, interrupts."""
