"""Files and folders: how they are written, found, locked and vouched for."""
