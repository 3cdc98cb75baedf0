package com.example.scores;

import com.zfoo.protocol.anno.Compatible;
import com.zfoo.protocol.anno.Note;
import com.zfoo.protocol.anno.Protocol;

import java.util.List;

@Protocol(id = 2000)
public class ScoreAsk {

    @Note("whose score it is")
    private long userId;

    @Note("what was won since the last ask")
    private int points;

    @Compatible(1)
    private List<String> medals;

    public static ScoreAsk valueOf(long userId, int points, List<String> medals) {
        var ask = new ScoreAsk();
        ask.userId = userId;
        ask.points = points;
        ask.medals = medals;
        return ask;
    }

    public long getUserId() {
        return userId;
    }

    public int getPoints() {
        return points;
    }

    public List<String> getMedals() {
        return medals;
    }
}
