package com.example.rooms;

/** A room; it has no packet id of its own in the annotation. */
@Protocol
public class Room {
    public int Id;
    public boolean isOpen;
    public String _secret;
    public Map<Room.Corner, String> corners;

    @Protocol(id = 0x4b2)
    public static class Corner {
        public double x;
        public Double y;
    }
}
