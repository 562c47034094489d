"""How bytes get out: any range of a layout, through blocks in memory, read ahead."""
