/* A disk one can look into and break: preloaded, it stands between the databases and libc.
 *
 * It watches the files of one folder (POWER_FOLDER) whose names begin with "journal.db". Each operation that changes
 * them is written with its data to POWER_LOG, in order; "synced" is only noted there, so that a rebuilt disk may
 * lose what a real one could. fault() breaks operations: the program under test calls it, or POWER_FAULT does
 * ("w 3 28 2 0"). The -shm file is never durable: it is not logged, but may find the disk full.
 * Left out, because SQLite and the agent do not use them on these files: dup, writev, sendfile, writes by mmap.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 4096 };
enum kind { NOT_OURS, LOGGED, SHARED_MEMORY, FOLDER };
struct head { uint8_t op, unused[3]; uint32_t name_size; uint64_t inode; int64_t offset; uint64_t size; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one operation at a time: the log's order is the truth */
static enum kind kinds[FDS];
static const char *folder = "";
static int log_fd = -1;
static struct { char op; long countdown; int error, lasting, partly; } broken;
static long hits;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum lasting { ONCE, UNTIL_SPACE_IS_MADE, UNTIL_MENDED };

/* Break writes ('w', truncations too) or syncs ('s'), the nth from now: once, or from then on until the next fault()
 * (UNTIL_SPACE_IS_MADE: also until the file "ballast" is deleted). partly: half of the data is still written. */
void fault(char op, long nth, int error, int lasting, int partly)
{
    pthread_mutex_lock(&lock);
    broken.op = op, broken.countdown = nth, broken.error = error, broken.lasting = lasting, broken.partly = partly;
    hits = 0;
    pthread_mutex_unlock(&lock);
}

long fault_hits(void) { return hits; }

static int breaks(char op)
{
    if (broken.op != op || --broken.countdown > 0)
        return 0;
    hits++;
    if (!broken.lasting)
        broken.op = 0;
    return broken.error;
}

static void note(uint8_t op, uint64_t inode, int64_t offset, const char *name, size_t name_size, const void *data,
                 size_t size)
{
    struct head head = {op, {0}, (uint32_t)name_size, inode, offset, size};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, name_size}, {(void *)data, size}};
    if (log_fd >= 0 && writev(log_fd, parts, 3) != (ssize_t)(sizeof head + name_size + size))
        abort(); /* a log with a hole proves nothing */
}

/* A line of the program's own, such as "this sale is acknowledged", at its place among the operations. */
void power_mark(const char *words)
{
    pthread_mutex_lock(&lock);
    note('a', 0, 0, words, strlen(words), NULL, 0);
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWER_LOG"), *words = getenv("POWER_FAULT");
    char op;
    long nth;
    int error, lasting, partly;
    if (getenv("POWER_FOLDER"))
        folder = getenv("POWER_FOLDER");
    if (path)
        log_fd = REAL(open64)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (words && sscanf(words, "%c %ld %d %d %d", &op, &nth, &error, &lasting, &partly) == 5)
        fault(op, nth, error, lasting, partly);
}

static const char *name_of(const char *path) { return path + strlen(folder) + 1; }

static int is_inside(const char *path)
{
    size_t size = strlen(folder);
    return size && strncmp(path, folder, size) == 0 && path[size] == '/';
}

static enum kind kind_of(const char *path)
{
    if (*folder && strcmp(path, folder) == 0)
        return FOLDER;
    if (!is_inside(path) || strncmp(name_of(path), "journal.db", 10))
        return NOT_OURS;
    return strlen(path) > 4 && strcmp(path + strlen(path) - 4, "-shm") == 0 ? SHARED_MEMORY : LOGGED;
}

static enum kind kind_of_fd(int fd) { return fd >= 0 && fd < FDS ? kinds[fd] : NOT_OURS; }

static uint64_t inode_of(int fd)
{
    struct stat facts;
    return fstat(fd, &facts) ? 0 : facts.st_ino;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    enum kind kind = kind_of(path);
    pthread_mutex_lock(&lock);
    int is_new = kind == LOGGED && (flags & O_CREAT) && access(path, F_OK) != 0;
    int fd = REAL(openat64)(at, path, flags, mode), error = errno;
    if (fd >= 0 && fd < FDS) {
        kinds[fd] = kind;
        if (is_new)
            note('c', inode_of(fd), 0, name_of(path), strlen(name_of(path)), NULL, 0);
        else if (kind == LOGGED && (flags & O_TRUNC))
            note('t', inode_of(fd), 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }
int open(const char *path, int flags, ...) { MODE(flags, mode) return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return open_any(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return open_any(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return open_any(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd)
{
    if (fd >= 0 && fd < FDS)
        kinds[fd] = NOT_OURS;
    return REAL(close)(fd);
}

static ssize_t write_at(int fd, const void *data, size_t size, off64_t offset)
{
    pthread_mutex_lock(&lock);
    int error = breaks('w');
    ssize_t written = -1;
    if (error && broken.partly && size > 1)
        error = 0, size /= 2;
    if (!error) {
        written = REAL(pwrite64)(fd, data, size, offset);
        error = errno;
        if (written > 0 && kinds[fd] == LOGGED)
            note('w', inode_of(fd), offset, NULL, 0, data, (size_t)written);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return kind_of_fd(fd) == NOT_OURS ? REAL(pwrite64)(fd, data, size, offset) : write_at(fd, data, size, offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size)
{
    if (kind_of_fd(fd) == NOT_OURS)
        return REAL(write)(fd, data, size);
    int at_end = fcntl(fd, F_GETFL) & O_APPEND;
    off64_t offset = lseek64(fd, 0, at_end ? SEEK_END : SEEK_CUR);
    ssize_t written = write_at(fd, data, size, offset);
    if (written > 0)
        lseek64(fd, offset + written, SEEK_SET);
    return written;
}

int ftruncate64(int fd, off64_t size)
{
    pthread_mutex_lock(&lock);
    enum kind kind = kind_of_fd(fd);
    int error = kind != NOT_OURS && broken.error != ENOSPC ? breaks('w') : 0; /* cutting off needs no space */
    int result = error ? -1 : REAL(ftruncate64)(fd, size);
    error = error ? error : errno;
    if (result == 0 && kind == LOGGED)
        note('t', inode_of(fd), size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int sync_any(int fd, int (*real)(int))
{
    enum kind kind = kind_of_fd(fd);
    if (kind == NOT_OURS)
        return real(fd);
    pthread_mutex_lock(&lock);
    int error = kind == LOGGED ? breaks('s') : 0;
    if (kind == FOLDER)
        note('d', 0, 0, NULL, 0, NULL, 0);
    else /* 'f': it failed; what was dirty then may never reach the disk, though the next sync succeeds */
        note(error ? 'f' : 's', inode_of(fd), 0, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return error ? -1 : 0;
}
int fsync(int fd) { return sync_any(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_any(fd, REAL(fdatasync)); }

int rename(const char *old, const char *new)
{
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(old, new), error = errno;
    if (result == 0 && is_inside(old) && is_inside(new) && (kind_of(old) == LOGGED || kind_of(new) == LOGGED)) {
        char names[8192];
        int size = snprintf(names, sizeof names, "%s%c%s", name_of(old), '\n', name_of(new));
        note('r', 0, 0, names, (size_t)size, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path)
{
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path), error = errno;
    if (result == 0 && kind_of(path) == LOGGED)
        note('u', 0, 0, name_of(path), strlen(name_of(path)), NULL, 0);
    if (result == 0 && is_inside(path) && strcmp(name_of(path), "ballast") == 0 && broken.error == ENOSPC &&
        broken.lasting == UNTIL_SPACE_IS_MADE)
        broken.op = 0; /* the space it took is free now */
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
