#!/usr/bin/env escript
%% A process per room, as in the first sketch of this system; nothing is published, only the timers are measured.
%%   escript metronome.escript relative|absolute ROOMS random|equal SECONDS
%% relative: each beat asks for the next in 500 ms from now; absolute: at its own time. Prints JSON, lateness in µs.
-mode(compile).

-define(INTERVAL, 500000).

now_us() -> erlang:monotonic_time(microsecond).

main([Kind, Rooms0, Phase, Seconds0]) ->
    Rooms = list_to_integer(Rooms0),
    Seconds = list_to_integer(Seconds0),
    rand:seed(exsss, {1, 2, 3}),
    Start = now_us() + 1000000,
    End = Start + Seconds * 1000000,
    Main = self(),
    [spawn(fun() -> room(list_to_atom(Kind), First, End, Main) end)
     || First <- [Start + phase(Phase) || _ <- lists:seq(1, Rooms)]],
    Lates = [receive {late, L} -> L end || _ <- lists:seq(1, Rooms)],
    Last = [hd(L) || L <- Lates, L =/= []],
    {Cpu, _} = statistics(runtime),
    io:format("{\"late_us\":~s,\"last_us\":~s,\"cpu_percent\":~.1f}~n",
              [numbers(lists:append(Lates)), numbers(Last), Cpu / 10 / (Seconds + 1)]).

phase("equal") -> 0;
phase(_) -> rand:uniform(?INTERVAL) - 1.

numbers(L) -> ["[", lists:join(",", [integer_to_list(X) || X <- L]), "]"].

%% erlang's timers count in ms, from its own monotonic clock.
room(Kind, First, End, Main) ->
    timer_at(First),
    loop(Kind, First, 0, End, Main, []).

loop(Kind, First, N, End, Main, Late) ->
    receive beat -> ok end,
    Now = now_us(),
    case Now < End of
        false -> Main ! {late, Late};
        true ->
            case Kind of
                relative -> erlang:send_after(?INTERVAL div 1000, self(), beat);
                absolute -> timer_at(First + (N + 1) * ?INTERVAL)
            end,
            loop(Kind, First, N + 1, End, Main, [Now - First - N * ?INTERVAL | Late])
    end.

timer_at(Us) ->
    %% Rounded up: a beat may be late, never early.
    erlang:send_after((Us + 999) div 1000, self(), beat, [{abs, true}]).
