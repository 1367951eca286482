%% bench/peers/peer_beam.erl - the workload on ETS and on mnesia's dirty operations.
%%
%%     erl -noshell -pa FOLDER -run peer_beam main SYSTEM N THREADS PHASES SHARE
%%
%% What    loads N documents, then the phases asked for in the workload's order, each checked.
%%         SHARE of the operations are done.
%% Owns    five tables: documents; name and email (key under a unique value); score and tag, both
%%         ordered sets of {value, key}. And a plain copy of what the documents must say.
%% Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says; a WRONG ends it.
%% Threads one process a worker; record i is written by worker i rem threads only.
%%
%% Numbers of 64 bits are bignums here: picks, scores and guilds are worked out before the clock
%% runs and lie in a binary, which is no burden on the collector; the texts are made while it runs,
%% as in all the other programs.
%%
%% SPDX-License-Identifier: Apache-2.0
-module(peer_beam).
-export([main/1]).

-define(MASK, 16#ffffffffffffffff).
-define(BATCH, 64).
-define(ANY_LANG, 8).
-define(SCORE, 5). % places in a document
-define(TAGS, 6).
-define(GOLD, 8).
-define(ITEM, 17). % bytes of an operation: which one, record, score, guild, language

-record(stage, {system, count, guilds, threads, share, version, digits, bio, wanted,
                score, guild, gold, gone, below_count, below_sum}).

%% Seeds, one a phase, as in bench/phases.c; the queries have their own after them.
seed(order) -> 1; seed(get) -> 2; seed(get_miss) -> 3; seed(get_many) -> 4; seed(unique) -> 5;
seed(update) -> 6; seed(patch) -> 7; seed(mixed95) -> 9; seed(dup) -> 10; seed(delete) -> 11;
seed(range100) -> 12; seed(top100) -> 13; seed(tag100) -> 14; seed(tagand) -> 15;
seed(check) -> 16.

%% ---- records ----

mix(Number) ->
    A = (Number + 16#9e3779b97f4a7c15) band ?MASK,
    B = ((A bxor (A bsr 30)) * 16#bf58476d1ce4e5b9) band ?MASK,
    C = ((B bxor (B bsr 27)) * 16#94d049bb133111eb) band ?MASK,
    C bxor (C bsr 31).

below(Number, Limit) -> (mix(Number) * Limit) bsr 64.

pick(Phase, K, Limit) -> below((seed(Phase) bsl 40) + K, Limit).

score_of(I, Version, Count) -> mix((I + (Version bsl 32)) band ?MASK) rem Count.

%% Four digits as a number of four bytes, by a table: texts are put together in one step each.
digits_make() ->
    list_to_tuple([binary:decode_unsigned(list_to_binary(io_lib:format("~4..0B", [I])))
                   || I <- lists:seq(0, 9999)]).

digits(Digits, Number) -> element(Number + 1, Digits).

key_of(D, I) -> <<$p, (digits(D, I div 10000)):32, (digits(D, I rem 10000)):32>>.
name_of(D, I) -> <<"player_", (digits(D, I div 10000)):32, (digits(D, I rem 10000)):32>>.
email_of(D, I) ->
    <<$u, (digits(D, I div 10000)):32, (digits(D, I rem 10000)):32, "@example.net">>.
guild_text(D, G) ->
    <<"guild:", (digits(D, G div 10000)):16, (digits(D, G rem 10000)):32>>.
lang_text(Lang) -> <<"lang:", ($0 + Lang)>>.
absent_key_of(D, I) ->
    <<Head:8/binary, Last>> = key_of(D, I),
    <<Head/binary, (Last - $0 + $a)>>.

document(#stage{digits = D, bio = Bio}, I, EmailFrom, Score, Guild, Lang) ->
    {player, key_of(D, I), name_of(D, I), email_of(D, EmailFrom), Score,
     [guild_text(D, Guild), lang_text(Lang)], Bio, 0}.

%% The size of the document as msgpack: what the memory phase does not count.
encoded_size(Score) ->
    Rest = 1 + 5 + 16 + 6 + 22 + 6 + 5 + 1 + 13 + 7 + 4 + 66 + 5 + 1,
    Rest + if Score < 128 -> 1; Score < 256 -> 2; Score < 65536 -> 3; true -> 5 end.

%% ---- the two systems ----

%% Locks inside the tables only where more than one process is there: they cost a single one.
table_options(1) -> [];
table_options(_) -> [{read_concurrency, true}, {write_concurrency, true}].

tables() -> [{player, set}, {name, set}, {email, set}, {score, ordered_set}, {tag, ordered_set}].

open(ets, Threads) ->
    [ets:new(Name, [Type, named_table, public, {keypos, 2} | table_options(Threads)])
     || {Name, Type} <- tables()];
open(mnesia, Threads) ->
    ok = mnesia:start(),
    Fields = [key, name, email, score, tags, bio, gold],
    [{atomic, ok} = mnesia:create_table(Name,
        [{type, Type}, {ram_copies, [node()]},
         {attributes, case Name of player -> Fields; _ -> [value, key] end},
         {storage_properties, [{ets, table_options(Threads)}]}]) || {Name, Type} <- tables()],
    ok = mnesia:wait_for_tables([Name || {Name, _} <- tables()], 10000).

lookup(ets, Table, Key) -> ets:lookup(Table, Key);
lookup(mnesia, Table, Key) -> mnesia:dirty_read(Table, Key).

write(ets, Table, Object) -> ets:insert(Table, Object);
write(mnesia, Table, Object) -> mnesia:dirty_write(Table, Object).

delete(ets, Table, Key) -> ets:delete(Table, Key);
delete(mnesia, Table, Key) -> mnesia:dirty_delete(Table, Key).

next(ets, Table, Key) -> ets:next(Table, Key);
next(mnesia, Table, Key) -> mnesia:dirty_next(Table, Key).

prev(ets, Table, Key) -> ets:prev(Table, Key);
prev(mnesia, Table, Key) -> mnesia:dirty_prev(Table, Key).

select(ets, Table, Pattern) -> ets:select(Table, Pattern);
select(mnesia, Table, Pattern) -> mnesia:dirty_select(Table, Pattern).

%% The score of a document that must be there. ETS copies only the element.
score(ets, Key) -> ets:lookup_element(player, Key, ?SCORE);
score(mnesia, Key) -> element(?SCORE, hd(mnesia:dirty_read(player, Key))).

total(System) -> total(System, player).
total(ets, Table) -> ets:info(Table, size);
total(mnesia, Table) -> mnesia:table_info(Table, size).

%% Documents, and the entries beside them: as many as documents, twice as many in tag.
totals(System) -> [total(System, Table) || Table <- [player, name, email, score, tag]].

%% ---- operations: those that find give the number of documents and the sum of their scores ----

find_key(System, Key) ->
    case lookup(System, player, Key) of
        [Document] -> {1, element(?SCORE, Document)};
        [] -> {0, 0}
    end.

find_email(System, Email) ->
    case lookup(System, email, Email) of
        [{_, _, Key}] -> {1, score(System, Key)};
        [] -> {0, 0}
    end.

%% A number is less than any key: {From, 0} lies before all entries of the score From.
find_between(System, From, To) ->
    between(System, next(System, score, {From, 0}), To, 0, 0).

between(System, {Score, Key} = Entry, To, Count, Sum) when Score < To ->
    More = score(System, Key),
    between(System, next(System, score, Entry), To, Count + 1, Sum + More);
between(_, _, _, Count, Sum) ->
    {Count, Sum}.

find_top(System, Highest) -> top(System, prev(System, score, {Highest + 1, 0}), 0, 0).

top(System, {_, Key} = Entry, Count, Sum) when Count < 100 ->
    More = score(System, Key),
    top(System, prev(System, score, Entry), Count + 1, Sum + More);
top(_, _, Count, Sum) ->
    {Count, Sum}.

%% The beginning of the key is bound, so only the tag's own entries are looked at.
find_tagged(System, Guild, none) ->
    Keys = select(System, tag, [{{tag, {Guild, '$1'}, '_'}, [], ['$1']}]),
    {length(Keys), lists:foldl(fun(Key, Sum) -> Sum + score(System, Key) end, 0, Keys)};
find_tagged(System, Guild, Lang) ->
    Keys = select(System, tag, [{{tag, {Guild, '$1'}, '_'}, [], ['$1']}]),
    lists:foldl(fun(Key, {Count, Sum}) ->
                    case lookup(System, tag, {Lang, Key}) of
                        [] -> {Count, Sum};
                        [_] -> {Count + 1, Sum + score(System, Key)}
                    end
                end, {0, 0}, Keys).

%% ETS refuses a taken key by itself. mnesia has no such dirty operation: it looks first, which is
%% safe only because no two workers here insert the same value at once.
insert(System, Document) ->
    {player, Key, Name, Email, Score, Tags, _, _} = Document,
    case take(System, {email, Email, Key}) andalso take_or(System, {name, Name, Key}, email, Email)
         andalso take_or(System, Document, name, Name) of
        true ->
            write(System, score, {score, {Score, Key}, 0}),
            [write(System, tag, {tag, {Tag, Key}, 0}) || Tag <- Tags],
            1;
        false ->
            0
    end.

take(ets, Object) -> ets:insert_new(element(1, Object), Object);
take(mnesia, Object) ->
    Table = element(1, Object),
    case mnesia:dirty_read(Table, element(2, Object)) of
        [] -> mnesia:dirty_write(Table, Object), true;
        _ -> false
    end.

%% What was taken before goes back where this is refused.
take_or(System, Object, Table, Value) ->
    take(System, Object) orelse begin delete(System, Table, Value), false end.

update(System, Document) ->
    {player, Key, _, _, Score, [Guild, _], _, _} = Document,
    [{player, _, _, _, OldScore, [OldGuild, _], _, _}] = lookup(System, player, Key),
    write(System, player, Document),
    move(System, score, {OldScore, Key}, {Score, Key}),
    move(System, tag, {OldGuild, Key}, {Guild, Key}),
    1.

move(_, _, Entry, Entry) -> ok;
move(System, Table, Old, New) ->
    write(System, Table, {Table, New, 0}),
    delete(System, Table, Old).

patch(ets, Key) ->
    ets:update_counter(player, Key, {?GOLD, 1}),
    1;
patch(mnesia, Key) ->
    [Document] = mnesia:dirty_read(player, Key),
    mnesia:dirty_write(player, setelement(?GOLD, Document, element(?GOLD, Document) + 1)),
    1.

remove(System, Key) ->
    case lookup(System, player, Key) of
        [] -> 0;
        [{player, _, Name, Email, Score, Tags, _, _}] ->
            delete(System, player, Key),
            delete(System, name, Name),
            delete(System, email, Email),
            delete(System, score, {Score, Key}),
            [delete(System, tag, {Tag, Key}) || Tag <- Tags],
            1
    end.

%% ---- one operation of each phase ----

operation(#stage{system = System, digits = D} = S, Phase) ->
    case Phase of
        get -> fun(_, I, _, _, _) -> find_key(System, key_of(D, I)) end;
        get_many -> fun(_, I, _, _, _) -> find_key(System, key_of(D, I)) end;
        get_miss -> fun(_, I, _, _, _) -> find_key(System, absent_key_of(D, I)) end;
        unique -> fun(_, I, _, _, _) -> find_email(System, email_of(D, I)) end;
        range100 -> fun(_, I, _, _, _) -> find_between(System, I, I + 100) end;
        top100 -> fun(_, I, _, _, _) -> find_top(System, I) end;
        tag100 -> fun(_, G, _, _, _) -> find_tagged(System, guild_text(D, G), none) end;
        tagand -> fun(_, P, _, _, _) ->
                      find_tagged(System, guild_text(D, P div 8), lang_text(P rem 8))
                  end;
        _ -> write_operation(S, Phase)
    end.

write_operation(#stage{system = System, digits = D, count = Count} = S, Phase) ->
    case Phase of
        insert -> fun(_, I, Score, Guild, Lang) ->
                      {insert(System, document(S, I, I, Score, Guild, Lang)), 0}
                  end;
        update -> fun(_, I, Score, Guild, Lang) ->
                      {update(System, document(S, I, I, Score, Guild, Lang)), 0}
                  end;
        %% Language 255 says that it is a read.
        mixed95 -> fun(_, I, _, _, 255) ->
                           {1, Score} = find_key(System, key_of(D, I)),
                           true = Score < Count,
                           {1, 0};
                      (_, I, Score, Guild, Lang) ->
                           {update(System, document(S, I, I, Score, Guild, Lang)), 0}
                   end;
        patch -> fun(_, I, _, _, _) -> {patch(System, key_of(D, I)), 0} end;
        dup -> fun(K, I, Score, Guild, Lang) ->
                   {1 - insert(System, document(S, Count + K, I, Score, Guild, Lang)), 0}
               end;
        delete -> fun(_, I, _, _, _) -> {remove(System, key_of(D, I)), 0} end
    end.

%% ---- orders and workers ----

operations(#stage{count = Count, share = Share}, ForMillion) ->
    max(1, trunc(ForMillion * min(1.0, Count / 1.0e6) * Share)).

picks(Phase, Count, Limit) -> [pick(Phase, K, Limit) || K <- lists:seq(0, Count - 1)].

shuffled(Phase, Count) ->
    Order = atomics:new(max(1, Count), []),
    [atomics:put(Order, I, I - 1) || I <- lists:seq(1, Count)],
    [begin
         Other = pick(Phase, I, I) + 1,
         Kept = atomics:get(Order, I),
         atomics:put(Order, I, atomics:get(Order, Other)),
         atomics:put(Order, Other, Kept)
     end || I <- lists:seq(Count, 2, -1)],
    [atomics:get(Order, I) || I <- lists:seq(1, Count)].

%% What an operation needs to know, in ?ITEM bytes. Reads need the pick alone.
item(#stage{count = Count, guilds = Guilds, version = Version}, Phase, K, I) ->
    IsWrite = lists:member(Phase, [insert, update, dup])
        orelse (Phase =:= mixed95 andalso below(Version + K, 20) =:= 0),
    case IsWrite of
        true ->
            At = case Phase of insert -> 0; dup -> 0; _ -> Version + K end,
            <<K:32, I:32, (score_of(I, At, Count)):32, ((I + At) rem Guilds):32, (mix(I) rem 8)>>;
        false ->
            <<K:32, I:32, 0:64, 255>>
    end.

%% Each worker's operations: those that write by record, those that read in turn.
deal(#stage{threads = Threads} = S, Phase, Picks) ->
    Writes = lists:member(Phase, [insert, update, patch, mixed95, dup, delete]),
    Numbered = lists:zip(lists:seq(0, length(Picks) - 1), Picks),
    [<< <<(item(S, Phase, K, I))/binary>>
        || {K, I} <- Numbered, case Writes of true -> I; false -> K end rem Threads =:= Worker >>
     || Worker <- lists:seq(0, Threads - 1)].

work(<<K:32, I:32, Score:32, Guild:32, Lang, Rest/binary>>, Operation, Count, Sum) ->
    {More, Found} = Operation(K, I, Score, Guild, Lang),
    work(Rest, Operation, Count + More, Sum + Found);
work(<<>>, _, Count, Sum) ->
    {Count, Sum}.

%% Lets all workers go at one moment; seconds from the first one's start to the last one's stop.
run(S, Phase, Hands) ->
    Operation = operation(S, Phase),
    Main = self(),
    Workers = [spawn_opt(fun() ->
                   receive go -> ok end,
                   Start = erlang:monotonic_time(nanosecond),
                   Found = work(Hand, Operation, 0, 0),
                   Main ! {self(), Found, Start, erlang:monotonic_time(nanosecond)}
               end, [link, {min_heap_size, 200000}]) || Hand <- Hands],
    erlang:garbage_collect(),
    [Worker ! go || Worker <- Workers],
    Results = [receive {Worker, Found, Start, Stop} -> {Found, Start, Stop} end
               || Worker <- Workers],
    Begin = lists:min([Start || {_, Start, _} <- Results]),
    End = lists:max([Stop || {_, _, Stop} <- Results]),
    {lists:sum([Count || {{Count, _}, _, _} <- Results]),
     lists:sum([Sum || {{_, Sum}, _, _} <- Results]), (End - Begin) / 1.0e9}.

%% ---- what the answers must be ----

wrong(#stage{system = System}, Phase, Format, Arguments) ->
    io:format("WRONG ~s ~s " ++ Format ++ "~n", [System, Phase | Arguments]),
    halt(1).

result(#stage{system = System, threads = Threads}, Phase, Value, Unit) ->
    io:format("RESULT ~s ~s ~b ~.1f ~s~n", [System, Phase, Threads, float(Value), Unit]).

check(_, _, Same, Same) -> ok;
check(S, Phase, {Count, Sum}, {WantedCount, WantedSum}) ->
    wrong(S, Phase, "~b with scores of ~b instead of ~b with ~b",
          [Count, Sum, WantedCount, WantedSum]).

put_copy(Array, I, Value) -> atomics:put(Array, I + 1, Value).
get_copy(Array, I) -> atomics:get(Array, I + 1).

%% Sorts the copy anew, after writes.
expect(#stage{count = Count, below_count = Counts, below_sum = Sums} = S) ->
    [begin put_copy(Counts, I, 0), put_copy(Sums, I, 0) end || I <- lists:seq(0, Count)],
    [begin
         Score = get_copy(S#stage.score, I),
         atomics:add(Counts, Score + 2, 1),
         atomics:add(Sums, Score + 2, Score)
     end || I <- lists:seq(0, Count - 1), get_copy(S#stage.gone, I) =:= 0],
    [begin
         atomics:add(Counts, I + 1, get_copy(Counts, I - 1)),
         atomics:add(Sums, I + 1, get_copy(Sums, I - 1))
     end || I <- lists:seq(1, Count)],
    ok.

wanted_between(#stage{count = Count, below_count = Counts, below_sum = Sums}, From, To) ->
    End = min(To, Count),
    {get_copy(Counts, End) - get_copy(Counts, From), get_copy(Sums, End) - get_copy(Sums, From)}.

wanted_top(S, Highest) -> wanted_top(S, Highest, 0, 0).

wanted_top(_, Score, Count, Sum) when Score < 0; Count =:= 100 -> {Count, Sum};
wanted_top(S, Score, Count, Sum) ->
    {Here, _} = wanted_between(S, Score, Score + 1),
    Take = min(Here, 100 - Count),
    wanted_top(S, Score - 1, Count + Take, Sum + Take * Score).

%% As the guilds were inserted: the queries come before all writes.
wanted_tagged(#stage{count = Count, guilds = Guilds, score = Scores}, Guild, Lang) ->
    Members = [I || I <- lists:seq(Guild, Count - 1, Guilds),
                    Lang =:= ?ANY_LANG orelse mix(I) rem 8 =:= Lang],
    {length(Members), lists:sum([get_copy(Scores, I) || I <- Members])}.

wanted(S, Phase, Pick) ->
    case Phase of
        get_miss -> {0, 0};
        range100 -> wanted_between(S, Pick, Pick + 100);
        top100 -> wanted_top(S, Pick);
        tag100 -> wanted_tagged(S, Pick, ?ANY_LANG);
        tagand -> wanted_tagged(S, Pick div 8, Pick rem 8);
        _ -> {1, get_copy(S#stage.score, Pick)}
    end.

%% Whether a document is what was written to it last.
check_document(#stage{system = System, digits = D} = S, Phase, I) ->
    Found = lookup(System, player, key_of(D, I)),
    {ByEmail, _} = find_email(System, email_of(D, I)),
    Gone = get_copy(S#stage.gone, I),
    case Found of
        [] when Gone =:= 1, ByEmail =:= 0 -> 0;
        [Document] when Gone =:= 0, ByEmail =:= 1 ->
            Now = {element(?SCORE, Document), hd(element(?TAGS, Document)),
                   element(?GOLD, Document)},
            Wanted = {get_copy(S#stage.score, I), guild_text(D, get_copy(S#stage.guild, I)),
                      get_copy(S#stage.gold, I)},
            Now =:= Wanted orelse wrong(S, Phase, "~s is ~w instead of ~w",
                                        [key_of(D, I), Now, Wanted]),
            1;
        _ -> wrong(S, Phase, "~s is found ~b and ~b times", [key_of(D, I), length(Found), ByEmail])
    end.

%% After writes all documents and some queries must agree with the copy.
check_all(#stage{system = System, digits = D, count = Count, guilds = Guilds} = S, Phase) ->
    Present = lists:sum([check_document(S, Phase, I) || I <- lists:seq(0, Count - 1)]),
    Totals = totals(System),
    Totals =:= [Present, Present, Present, Present, 2 * Present]
        orelse wrong(S, Phase, "documents and entries are ~w instead of ~b", [Totals, Present]),
    expect(S),
    Sizes = atomics:new(Guilds, []),
    Sums = atomics:new(Guilds, []),
    [begin
         atomics:add(Sizes, get_copy(S#stage.guild, I) + 1, 1),
         atomics:add(Sums, get_copy(S#stage.guild, I) + 1, get_copy(S#stage.score, I))
     end || I <- lists:seq(0, Count - 1), get_copy(S#stage.gone, I) =:= 0],
    [begin
         From = pick(check, K, Count),
         Guild = pick(check, K, Guilds),
         check(S, Phase, find_between(System, From, From + 100), wanted_between(S, From, From + 100)),
         check(S, Phase, find_tagged(System, guild_text(D, Guild), none),
               {get_copy(Sizes, Guild), get_copy(Sums, Guild)})
     end || K <- lists:seq(0, 499)].

%% ---- phases ----

resident() ->
    [erlang:garbage_collect(Process) || Process <- processes()],
    {ok, Text} = file:read_file("/proc/self/smaps_rollup"),
    {match, [Kilobytes]} = re:run(Text, "Rss:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.

load(#stage{count = Count, system = System} = S) ->
    Hands = deal(S, insert, shuffled(order, Count)),
    Before = resident(),
    {Done, _, Seconds} = run(S, insert, Hands),
    {Done, total(System)} =:= {Count, Count}
        orelse wrong(S, insert, "~b accepted, ~b there", [Done, total(System)]),
    is_wanted(S, insert) andalso result(S, insert, Count / Seconds, "docs/s"),
    is_wanted(S, memory) andalso
        begin
            Encoded = lists:sum([encoded_size(get_copy(S#stage.score, I))
                                 || I <- lists:seq(0, Count - 1)]),
            result(S, memory, (resident() - Before - Encoded) / Count, "bytes")
        end.

read_phase(#stage{count = Count, guilds = Guilds} = S, Phase) ->
    {ForMillion, Limit, Unit} =
        case Phase of
            get -> {2.0e6, Count, "ops/s"};
            get_miss -> {1.0e6, Count, "ops/s"};
            unique -> {1.0e6, Count, "ops/s"};
            tag100 -> {2.0e4, Guilds, "queries/s"};
            tagand -> {2.0e3, Guilds * 8, "queries/s"};
            _ -> {2.0e4, Count, "queries/s"}
        end,
    Picks = picks(Phase, operations(S, ForMillion), Limit),
    {Found, Sum, Seconds} = run(S, Phase, deal(S, Phase, Picks)),
    Wanted = lists:foldl(fun(Pick, {Count0, Sum0}) ->
                             {More, Score} = wanted(S, Phase, Pick),
                             {Count0 + More, Sum0 + Score}
                         end, {0, 0}, Picks),
    check(S, Phase, {Found, Sum}, Wanted),
    result(S, Phase, length(Picks) / Seconds, Unit).

write_picks(#stage{count = Count, share = Share}, delete) ->
    lists:sublist(shuffled(delete, Count div 2), max(1, trunc((Count div 2) * Share)));
write_picks(#stage{count = Count} = S, Phase) ->
    ForMillion = case Phase of mixed95 -> 2.0e6; dup -> 2.0e5; _ -> 1.0e6 end,
    picks(Phase, operations(S, ForMillion), Count).

%% Notes in the copy what an operation of a phase did.
copy_change(S, Phase, <<_:32, I:32, Score:32, Guild:32, Lang>>) ->
    case Phase of
        patch -> atomics:add(S#stage.gold, I + 1, 1);
        delete -> put_copy(S#stage.gone, I, 1);
        _ when Phase =:= dup; Lang =:= 255 -> ok;
        _ ->
            put_copy(S#stage.score, I, Score),
            put_copy(S#stage.guild, I, Guild),
            put_copy(S#stage.gold, I, 0)
    end.

write_phase(#stage{version = Version} = S, Phase) ->
    Picks = write_picks(S, Phase),
    {Done, _, Seconds} = run(S, Phase, deal(S, Phase, Picks)),
    check(S, Phase, {Done, 0}, {length(Picks), 0}),
    lists:foldl(fun(I, K) -> copy_change(S, Phase, item(S, Phase, K, I)), K + 1 end, 0, Picks),
    check_all(S, Phase),
    result(S, Phase, length(Picks) / Seconds, "ops/s"),
    S#stage{version = Version + length(Picks)}.

is_wanted(#stage{wanted = Wanted}, Phase) -> lists:member(atom_to_list(Phase), Wanted).

stage(System, Count, Threads, Phases, Share) ->
    Array = fun(Size) -> atomics:new(Size, []) end,
    Guilds = max(1, Count div 100),
    S = #stage{system = System, count = Count, guilds = Guilds, threads = Threads, share = Share,
               version = 1, digits = digits_make(), bio = binary:copy(<<"b">>, 64),
               wanted = string:split(Phases, ",", all), score = Array(Count),
               guild = Array(Count), gold = Array(Count), gone = Array(Count),
               below_count = Array(Count + 1), below_sum = Array(Count + 1)},
    [begin
         put_copy(S#stage.score, I, score_of(I, 0, Count)),
         put_copy(S#stage.guild, I, I rem Guilds)
     end || I <- lists:seq(0, Count - 1)],
    S.

main([Name, Count, Threads, Phases, Share]) ->
    S = stage(list_to_atom(Name), list_to_integer(Count), list_to_integer(Threads), Phases,
              list_to_float(Share)),
    try
        open(S#stage.system, S#stage.threads),
        load(S),
        expect(S),
        [read_phase(S, Phase) || Phase <- [get, get_miss, unique, range100, top100, tag100, tagand],
                                 is_wanted(S, Phase)],
        lists:foldl(fun(Phase, Now) -> write_phase(Now, Phase) end, S,
                    [Phase || Phase <- [update, patch, mixed95, dup, delete], is_wanted(S, Phase)]),
        halt(0)
    catch
        Class:Reason:Trace ->
            io:format(standard_error, "~p ~p ~p~n", [Class, Reason, Trace]),
            halt(2)
    end.
