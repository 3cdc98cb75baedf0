"""Packets to receivers, and answers back."""
