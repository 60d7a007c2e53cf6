"""The documented behaviours D1 to D21, one file a chapter, as checks of any subject."""
