# A small project: dependencies by time stamps, parallel jobs, a change, nothing to do.
set -eu
for n in one two three four; do
    echo "int $n(void) { return sizeof \"$n\"; }" > $n.c
done
echo 'int one(void), two(void), three(void), four(void); int main(void) { return one() + two() + three() + four(); }' > main.c
cat > Makefile << 'END'
objects = one.o two.o three.o four.o main.o
program: $(objects)
	@gcc -o $@ $(objects) && echo linked
%.o: %.c
	@gcc -O1 -c $< -o $@
clean:
	rm -f $(objects) program
END
make -j2 2>&1 | grep -v '^make: warning'
status=0; ./program || status=$?; echo "status $status"
make 2>&1
sleep 0.02; touch two.c; make 2>&1 | grep -v '^make: warning'; make -q && echo "up to date"
make nothing || echo "make says $?"
make clean
