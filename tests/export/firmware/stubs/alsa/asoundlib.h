/* As much of ALSA as the example uses, for a compiler that only checks types. */
#include <stddef.h>
typedef struct snd_pcm snd_pcm_t;
typedef unsigned long snd_pcm_uframes_t;
typedef long snd_pcm_sframes_t;
enum { SND_PCM_STREAM_CAPTURE = 1, SND_PCM_FORMAT_S16 = 2, SND_PCM_ACCESS_RW_INTERLEAVED = 3 };
int snd_pcm_open(snd_pcm_t **device, const char *name, int stream, int mode);
int snd_pcm_set_params(snd_pcm_t *device, int format, int access, unsigned channels, unsigned rate, int resample,
                       unsigned latency);
snd_pcm_sframes_t snd_pcm_readi(snd_pcm_t *device, void *samples, snd_pcm_uframes_t count);
int snd_pcm_recover(snd_pcm_t *device, int error, int silent);
const char *snd_strerror(int error);
