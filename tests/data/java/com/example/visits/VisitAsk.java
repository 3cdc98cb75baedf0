package com.example.visits;

import com.example.rooms.Room;
import com.zfoo.protocol.anno.Compatible;
import com.zfoo.protocol.anno.Note;
import com.zfoo.protocol.anno.Protocol;

import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Somebody comes in.
 * <p>
 * See {@link VisitAnswer}.
 */
@Protocol(id = 1100)
public class VisitAsk {

    public static final int MAX = 10;

    private transient int scratch;

    /** who it is */
    private long userId;

    private String userName; // as it is shown

    // how often,
    // since the start
    private int visits, lastVisit;

    @Note("the rooms, " + "by number")
    private Map<Integer, List<Room>> rooms;

    private byte[] avatar;
    private short levels[];

    @Compatible(2)
    private Set<List<String>> tags;

    @Compatible(1)
    private float in;

    private final com.example.rooms.Room home = null;

    public long getUserId() {
        return userId;
    }

    public void setUserId(long userId) {
        this.userId = userId;
    }
}
