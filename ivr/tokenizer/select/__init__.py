"""Which ids leave and which strings enter, by exact token counts; stage `select`."""
