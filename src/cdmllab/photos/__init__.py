"""Find, align, compare and report the faces of the user's photos, on the user's machine.

Nothing is written unless it is requested, and the report states what a score cannot say.
"""
