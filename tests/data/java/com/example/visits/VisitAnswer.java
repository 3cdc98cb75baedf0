package com.example.visits;

@Protocol(id = 1_101)
public record VisitAnswer(@Note("how often") int count, Room room, @Compatible(1) java.util.List<Long> ids) {
    public VisitAnswer {
        if (count < 0) {
            throw new IllegalArgumentException();
        }
    }

    public static VisitAnswer of(int count) {
        return new VisitAnswer(count, null, null);
    }
}
