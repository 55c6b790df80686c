# A repository's life: init, commits, branches, merge, gc, clone, fsck.
set -eu
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
git init -q -b main repository && cd repository && git config pack.threads 1
for i in 1 2 3 4 5; do seq 1 "$((i * 100))" > "file$i"; git add . && git commit -qm "commit $i"; done
git checkout -qb side HEAD~2 && echo side > side && git add side && git commit -qm side
git checkout -q main && git merge -q --no-edit side && git log --oneline --graph | cat
git diff --stat HEAD~3 | cat; git status --short; echo more >> file1; git status --short; git diff | tail -n 3; git stash -q; git stash list | cut -c1-20
git gc -q && git fsck --strict && git count-objects -v | grep -E 'count|packs'
git clone -q . ../clone && git -C ../clone rev-parse HEAD && git -C ../clone ls-files | wc -l
git blame -s file2 | tail -n 1; git grep -c 42; git archive HEAD | tar t | head -n 3; git bisect start -q HEAD HEAD~4 2> /dev/null | cat
cd .. && rm -rf repository/.git clone/.git      # holds inode numbers and times
