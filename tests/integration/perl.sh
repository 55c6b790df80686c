# perl: files, hashes, fork, pipes, signals, sockets, sprintf, sort.
perl << 'END'
use strict; use warnings; use IO::Socket::UNIX; use File::Temp qw(tempfile); use POSIX qw(:sys_wait_h);
$| = 1;
my %count; $count{$_ % 7} += $_ for 1 .. 10000; print join(",", map { "$_=$count{$_}" } sort keys %count), "\n";
open(my $f, '>', 'lines') or die; print $f "line $_\n" for 1 .. 1000; close $f;
open($f, '<', 'lines'); my @lines = <$f>; print scalar(@lines), " $lines[-1]";
my $pid = open(my $p, '-|') // die; if (!$pid) { print "from the child\n"; exit 3 } print "parent got: ", <$p>; close $p; print $? >> 8, "\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select(undef, undef, undef, 10); }; print "eval: $@";
local $SIG{USR1} = sub { print "usr1\n" }; kill USR1 => $$;
my @kids = map { my $n = $_; my $k = fork; exit $n if !$k; $k } 1 .. 5; my $sum = 0; for (@kids) { waitpid $_, 0; $sum += $? >> 8 } print "$sum\n";
my $server = IO::Socket::UNIX->new(Local => 'sock', Listen => 1) or die $!;
if (!fork) { my $c = IO::Socket::UNIX->new(Peer => 'sock'); print $c "hello server\n"; exit } my $c = $server->accept; print <$c>; wait;
print `echo backquotes; exit 4`, $? >> 8, "\n"; print "$!\n" unless open(my $x, '<', '/nonexistent'); my ($t, $n) = tempfile(UNLINK => 1); print -e $n ? "temp\n" : "none\n";
printf "%.10f %s\n", atan2(1, 1) * 4, join ' ', sort { $a <=> $b } map { $_ * 17 % 101 } 1 .. 10; unlink 'sock'; exit 6;
END
