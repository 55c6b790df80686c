# Transactions with their locks and journals; two writers; rollback; a big table.
set -u
db=data.db
sqlite3 $db 'pragma journal_mode=delete; create table t(id integer primary key, v text);'
sqlite3 $db "begin; with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into t select i, 'value ' || i from n; commit;"
sqlite3 $db 'select count(*), sum(id), max(v) from t'
sqlite3 $db "begin; delete from t where id > 100; rollback; select count(*) from t"
for w in 1 2; do
    (for i in $(seq 1 15); do sqlite3 -cmd '.timeout 20000' $db "insert into t(v) values('writer $w')"; done) &
done
wait
sqlite3 $db "select v, count(*) from t where v like 'writer%' group by v; create index i on t(v); pragma integrity_check"
sqlite3 $db 'select v from t order by v' | md5sum
sqlite3 $db 'update t set v = upper(v) where id % 7 = 0; vacuum; select count(*) from t where v glob "VALUE*"'
sqlite3 $db 'insert into t values(1, 2)'; echo "$?"; sqlite3 none/none.db 'select 1'; echo "$?"
rm -f $db; ls
