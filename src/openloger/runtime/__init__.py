"""What a long job needs of the machine: threads, memory, progress, background work, interrupts."""
