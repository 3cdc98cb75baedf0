package com.example.scores;

import com.zfoo.protocol.anno.Protocol;

@Protocol(id = 2001)
public record ScoreAnswer(long userId, int total, int medals, String servedBy) {
}
