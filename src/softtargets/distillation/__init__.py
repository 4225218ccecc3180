"""A teacher's answers, kept on disk."""

from softtargets.distillation.teacher_cache import TeacherCache

__all__ = ["TeacherCache"]
